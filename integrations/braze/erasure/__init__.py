"""What is removed, and when: by age, and by the deletion of a customer."""
