"""One verb that compresses a model layer by layer, resumes where it was stopped, and reports what it did."""
