"""The page: layout, form and short events. Work never happens here."""
