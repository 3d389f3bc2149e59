"""Programs of a few dozen lines that do one job as it is usually done, or as fast as it can be done."""
