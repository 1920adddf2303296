"""The text transceiver of VLM-CSC."""
