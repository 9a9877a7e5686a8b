"""Enlarging finished pictures: the request, the networks that do it, and the work of a job."""
