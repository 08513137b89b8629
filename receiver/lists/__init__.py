"""What is kept of a customer's lists."""
