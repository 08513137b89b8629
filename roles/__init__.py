"""What each machine must have. Pure: a role computes items and never touches a host."""
