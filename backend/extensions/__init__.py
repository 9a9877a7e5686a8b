"""Extensions: found, loaded, called within limits, taken away again. What they may do is `backend.extension_api`."""
