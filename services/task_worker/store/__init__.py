"""Every SQL statement of the task worker, in a module for each thing that is done."""
