"""Pure words and values: errors, findings, architectures."""
