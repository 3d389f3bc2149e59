"""From the event stream to frames: following it, what each event is about, and the ring of the latest."""
