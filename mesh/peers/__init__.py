"""Who is out there: signed adverts and the peer book (both pure)."""
