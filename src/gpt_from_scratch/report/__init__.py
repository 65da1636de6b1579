"""The results as one page that needs no server: `report.html`."""
