-- A small company on Open WebUI 0.12, for tests and pictures of who may do what. The first user is there already, as u1; so is our installation.
UPDATE "user" SET name = 'Ann Okafor', email = 'ann@acme.example' WHERE id = 'u1';
INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at) VALUES
  ('bea', 'Bea Lindqvist', 'bea@acme.example', 'admin', '', 9000000001, 1, 1),
  ('carl', 'Carl Nowak', 'carl@acme.example', 'user', '', 9000000002, 1, 1),
  ('dee', 'Dee Haddad', 'dee@acme.example', 'user', '', 9000000003, 1, 1),
  ('eve', 'Eve Moreau', 'eve@acme.example', 'pending', '', 9000000004, 1, 1),
  ('mal', '<script>intruded = 1</script><b id=x>', '"><img onerror=intruded=1>@acme.example', 'user', '', 9000000005, 1, 1);
INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
  SELECT 'p' || lpad(n::text, 3, '0'),
         (ARRAY['Ada', 'Bo', 'Cleo', 'Dora', 'Emil', 'Finn', 'Gita', 'Hugo', 'Ines', 'Jan'])[1 + n % 10] || ' '
           || (ARRAY['Abbot', 'Berg', 'Costa', 'Diaz', 'Ekwueme', 'Falk', 'Gomez', 'Hansen', 'Ito', 'Jansen', 'Kaur', 'Lang'])[1 + n / 10],
         'p' || n || '@acme.example', 'user', '', 9000000100 + n, 1, 1
  FROM generate_series(0, 119) AS n;
INSERT INTO "group" (id, user_id, name, description, created_at, updated_at, parent_group_id) VALUES
  ('acme', 'u1', 'Acme', '', 1, 1, NULL),
  ('engineering', 'u1', 'Engineering', '', 1, 1, 'acme'), ('platform', 'u1', 'Platform', '', 1, 1, 'engineering'),
  ('sales', 'u1', 'Sales', '', 1, 1, 'acme'), ('berlin', 'u1', 'Sales Berlin', '', 1, 1, 'sales');
INSERT INTO group_member (id, group_id, user_id) VALUES ('m1', 'platform', 'carl'), ('m2', 'berlin', 'dee'), ('m3', 'sales', 'mal');
INSERT INTO group_member (id, group_id, user_id)
  SELECT 'p' || n, (ARRAY['engineering', 'platform', 'sales', 'berlin'])[1 + n % 4], 'p' || lpad(n::text, 3, '0') FROM generate_series(0, 119) AS n;
INSERT INTO function (id, user_id, name, type, content, meta, valves, is_active, is_global, created_at, updated_at) VALUES
  ('gemini_pipe', 'bea', 'Gemini', 'pipe', '', '{}', '{}', true, false, 1, 1),
  ('pii_filter', 'u1', 'Takes names out', 'filter', '', '{}', '{}', true, true, 1, 1),
  ('export_action', 'bea', 'Export to the wiki', 'action', '', '{}', '{}', true, false, 1, 1),
  ('old_pipe', 'bea', 'The pipe of last year', 'pipe', '', '{}', '{}', false, false, 1, 1);
INSERT INTO tool (id, user_id, name, content, specs, meta, created_at, updated_at) VALUES
  ('tickets', 'bea', 'Search tickets', '', '[]', '{}', 1, 1), ('sql_runner', 'u1', 'Run SQL', '', '[]', '{}', 1, 1);
INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at) VALUES
  ('gemini_pipe.flash', 'bea', NULL, 'Gemini Flash', '{}', '{}', true, 1, 1),
  ('support', 'bea', 'gemini_pipe.flash', 'Support', '{}', '{}', true, 1, 1),
  ('contracts', 'carl', 'gemini_pipe.flash', 'Reads contracts', '{}', '{}', true, 1, 1),
  ('<img src=x onerror=intruded=1>', 'mal', NULL, '</script><i id=y>', '{}', '{}', true, 1, 1);
INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
  SELECT 'team-' || lpad(n::text, 2, '0'), 'bea', NULL, 'Team model ' || n, '{}', '{}', true, 1, 1 FROM generate_series(1, 60) AS n;
INSERT INTO knowledge (id, user_id, name, created_at, updated_at) VALUES ('8b1f2c3d-0000-4000-8000-000000000001', 'dee', 'Handbook', 1, 1);
INSERT INTO prompt (id, command, user_id, name, content, is_active, created_at, updated_at) VALUES ('pr1', 'weekly', 'carl', 'Weekly report', '', true, 1, 1);
INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at) VALUES
  ('a1', 'model', 'gemini_pipe.flash', 'group', 'engineering', 'read', 1), ('a2', 'model', 'support', 'group', 'sales', 'read', 1),
  ('a3', 'tool', 'tickets', 'group', 'acme', 'read', 1), ('a4', 'tool', 'tickets', 'user', 'carl', 'write', 1),
  ('a5', 'knowledge', '8b1f2c3d-0000-4000-8000-000000000001', 'user', '*', 'read', 1), ('a6', 'prompt', 'pr1', 'group', 'platform', 'read', 1);
INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
  SELECT 't' || n, 'model', 'team-' || lpad(n::text, 2, '0'), 'group', (ARRAY['acme', 'engineering', 'platform', 'berlin'])[1 + n % 4], 'read', 1
  FROM generate_series(1, 60) AS n;
INSERT INTO neverstale.access_overlay (resource_type, resource_id, access_control) VALUES
  ('function', 'gemini_pipe', '{"read": {"group_ids": ["engineering"], "user_ids": []}, "write": {"group_ids": [], "user_ids": ["carl"]}}'),
  ('function', 'export_action', '{"read": {"group_ids": ["sales"], "user_ids": ["carl"]}}'),
  ('pipeline', '0:translate', '{"read": {"user_ids": ["*"]}}');
