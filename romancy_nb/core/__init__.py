"""The pure engine: workflow code, driven by events, answering with commands. No I/O, thread, clock or chance."""
