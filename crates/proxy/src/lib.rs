//! Serves the HTTP contract to the application in the same pod.
