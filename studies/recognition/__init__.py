"""Recognition of words, speakers and classes, by which recipes and studies judge samples."""
