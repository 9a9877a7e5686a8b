"""The sampling loop: which noise levels (schedules), which algorithm (samplers), which randomness (noise).

`samplers` and `schedules` are plain arithmetic and import without torch, so that a page can list them at once.
"""
