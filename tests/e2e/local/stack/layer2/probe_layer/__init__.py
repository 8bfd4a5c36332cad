WHO = "upper"
