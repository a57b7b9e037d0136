"""Datasets: from archives and folders into the store, and from the store to pixels and draws."""
