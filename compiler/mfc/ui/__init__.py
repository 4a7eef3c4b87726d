"""`mfc ui`: the page of `mfc report` live, on this machine alone, with a form that changes the spec."""
