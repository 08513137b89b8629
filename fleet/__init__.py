"""What commands share about relays: reach them side by side, plan, provision, read keys and lists."""
