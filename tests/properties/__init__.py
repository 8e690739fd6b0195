"""Laws of conversion, held by random train states."""
