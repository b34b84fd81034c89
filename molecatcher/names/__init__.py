"""What is asked of the DNS, and how the sensor knows our own questions."""
