"""Files beside the database: pictures with heat maps, dead letters, folders with a size limit."""
