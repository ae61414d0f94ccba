"""What a machine can check: equations, code, dates, and quotations of memories. Door: `checking.py`."""
