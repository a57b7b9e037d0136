"""Where datasets come from: downloads, hubs, archives, folders."""
