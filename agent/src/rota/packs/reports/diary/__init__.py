"""The pages of the reports pack: the editor of clients, reports and libraries, and the download side."""
