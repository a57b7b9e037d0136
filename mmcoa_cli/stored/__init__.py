"""What lies in the store: listed, verified, removed, and moved to another one."""
