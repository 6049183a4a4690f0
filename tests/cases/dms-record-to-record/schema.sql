CREATE TABLE purchase (customerid VARCHAR(10), orderid VARCHAR(10), productid VARCHAR(10), quantity INT NOT NULL,
                       PRIMARY KEY (customerid, orderid, productid));
