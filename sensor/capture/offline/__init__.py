"""Packets of capture files: pcap and pcapng, whole or their flow heads; and how a few of them are written."""
