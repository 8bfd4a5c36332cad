WHO = "base"
