"""Exchange formats, one file each, reading and writing side by side. Bytes in, bytes out; no database, no network."""
