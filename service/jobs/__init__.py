"""The write side of the service: the scheduler, its jobs, and what they do in child processes."""
