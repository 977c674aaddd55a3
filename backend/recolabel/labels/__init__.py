"""Label events in, pixels out. Pure: no database, no files, no clock."""
