"""What datasets come as: folders of classes, parquet, webdataset, the archives of their authors."""
