"""The gradient norm of every example of a batch: without their gradients, and, to check it, with them."""
