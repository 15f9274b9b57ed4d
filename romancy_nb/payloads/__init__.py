"""Values to bytes and back: typed JSON, Arrow, arrays, bytes, errors. Reading one never runs code and never imports anything."""
