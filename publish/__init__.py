"""What is made of the repository for others: the site (`python -m publish.site`) and a release (`publish.release`)."""
