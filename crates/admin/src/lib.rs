//! Serves probes, metrics and status to the kubelet, Prometheus and an operator.
