"""Plans as one HTML page, in English and Chinese: `mfc report` writes it, `mfc ui` keeps it live."""
