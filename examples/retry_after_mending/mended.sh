echo "loaded $rows rows"
