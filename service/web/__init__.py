"""The pages: rendered on the server, in English and French, without scripts and without anything from elsewhere."""
