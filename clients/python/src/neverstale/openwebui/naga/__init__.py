"""Takes over the reads of NAGA, the fork of Open WebUI 0.5.18 whose settings are inherited from the admins of a user's groups.

Recognised in its commit bec056b38. `is_super_admin` and `item_assigned_to_user_groups` stay the application's own: what they read
is taken over.
"""
