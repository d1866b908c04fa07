"""GPU passes: raster, I420 conversion."""
