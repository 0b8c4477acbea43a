"""What touches the machine: programs, durable writes, progress, effects."""
