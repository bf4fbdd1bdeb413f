"""What is taken over of Open WebUI 0.12: one module for each of the application's own."""
