"""The discovery wing: finders that put adverts where peers look."""
