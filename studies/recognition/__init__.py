"""Recognition of words, speakers and classes. Recipes and studies use it to judge samples."""
