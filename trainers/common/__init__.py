"""What the trainers share: flags, run folders, batches of runs."""
