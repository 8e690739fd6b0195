"""MaxText's own decoders, as its releases build them: what each holds, in every form."""
