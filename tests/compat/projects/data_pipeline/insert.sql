INSERT INTO points VALUES (:n, :lat, :lng, :height);
