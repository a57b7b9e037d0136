"""CLIP models and masked LMs: from files and hubs into the store, from the store to tensors."""
