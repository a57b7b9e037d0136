"""Handing a model on: what is handed, in which layouts, with which card and results, and to the hub."""
